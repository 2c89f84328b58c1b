"""Cascades and mappings of attention, as texts with sizes to fill in.

FuseMax (arXiv 2406.10491), sections 4 and 5; `flat` and `unfused` are its baselines.
"""

ONE_PASS = """\
einsum:
  name: one_pass
  shapes: {{H: {heads}, E: {e}, F: {f}, M1: {m1}, M0: 256, P: {p}}}
  declaration: {{Q: [H, E, P], K: [H, E, M], V: [H, F, M], AV: [H, F, P]}}
  init: |
    BK[h, e, m1, m0] = K[h, e, m1*M0 + m0]
    BV[h, f, m1, m0] = V[h, f, m1*M0 + m0]
    RM[h, 0, p] = -3.4028235e+38
    RD[h, 0, p] = 0
    RNV[h, f, 0, p] = 0
  names: {{RM: RM_0, RD: RD_0, RNV: RNV_0, RM_2: RM, RD_2: RD, RNV_2: RNV}}
  iterate: {{variable: m1, from: 0, until: m1 >= M1}}
  expressions: |
    BQK[h, m1, m0, p] = Q[h, e, p] * BK[h, e, m1, m0]
    LM[h, m1, p] = BQK[h, m1, m0, p] :: max(m0)
    RM[h, m1+1, p] = max(RM[h, m1, p], LM[h, m1, p])
    {sln}
    SLD[h, m1, p] = SLN[h, m1, m0, p]
    SLNV[h, f, m1, p] = SLN[h, m1, m0, p] * BV[h, f, m1, m0]
    {prm}
    SPD[h, m1, p] = RD[h, m1, p] * PRM[h, m1, p]
    RD[h, m1+1, p] = SLD[h, m1, p] + SPD[h, m1, p]
    SPNV[h, f, m1, p] = RNV[h, f, m1, p] * PRM[h, m1, p]
    RNV[h, f, m1+1, p] = SLNV[h, f, m1, p] + SPNV[h, f, m1, p]
  finally: |
    AV[h, f, p] = RNV[h, f, M1, p] / RD[h, M1, p]
"""

SUB_EXP = {
    "sln": "SLN[h, m1, m0, p] = sub_exp(BQK[h, m1, m0, p], RM[h, m1+1, p])",
    "prm": "PRM[h, m1, p] = sub_exp(RM[h, m1, p], RM[h, m1+1, p])",
}
"""Subtraction and exponential as one operator: 7 slots on FuseMax."""

SUB_THEN_EXP = {
    "sln": "SLX[h, m1, m0, p] = BQK[h, m1, m0, p] - RM[h, m1+1, p]\n"
    "    SLN[h, m1, m0, p] = exp(SLX[h, m1, m0, p])",
    "prm": "PRX[h, m1, p] = RM[h, m1, p] - RM[h, m1+1, p]\n    PRM[h, m1, p] = exp(PRX[h, m1, p])",
}
"""The same as two, one on the adder and one on the exponential unit of the baseline."""

THREE_PASS = """\
einsum:
  name: three_pass
  shapes: {{H: {heads}, E: {e}, F: {f}, M: {p}, P: {p}}}
  declaration: {{Q: [H, E, P], K: [H, E, M], V: [H, F, M], AV: [H, F, P]}}
  expressions: |
    QK[h, m, p] = Q[h, e, p] * K[h, e, m]
    GM[h, p] = QK[h, m, p] :: max(m)
    SN[h, m, p] = sub_exp(QK[h, m, p], GM[h, p])
    SD[h, p] = SN[h, m, p]
    A[h, m, p] = SN[h, m, p] / SD[h, p]
    AV[h, f, p] = A[h, m, p] * V[h, f, m]
"""

THREE_PASS_SPILLED = """\
einsum:
  name: three_pass_spilled
  shapes: {{H: {heads}, E: {e}, F: {f}, M: {p}, MA: {ma}, MB: {mb}, P: {p}}}
  declaration: {{Q: [H, E, P], K: [H, E, M], V: [H, F, M], AV: [H, F, P]}}
  expressions: |
    QKA[h, ma, p] = Q[h, e, p] * K[h, e, ma]
    QKB[h, mb, p] = Q[h, e, p] * K[h, e, mb + MA]
    GMA[h, p] = QKA[h, ma, p] :: max(ma)
    GM[h, p] = QKB[h, mb, p] :: max(mb) from GMA
    SNA[h, ma, p] = sub_exp(QKA[h, ma, p], GM[h, p])
    SNB[h, mb, p] = sub_exp(QKB[h, mb, p], GM[h, p])
    SDA[h, p] = SNA[h, ma, p]
    SD[h, p] = SNB[h, mb, p] :: add(mb) from SDA
    AA[h, ma, p] = SNA[h, ma, p] / SD[h, p]
    AB[h, mb, p] = SNB[h, mb, p] / SD[h, p]
    AVA[h, f, p] = AA[h, ma, p] * V[h, f, ma]
    AV[h, f, p] = AB[h, mb, p] * V[h, f, mb + MA] :: add(mb) from AVA
"""
"""The keys in two parts: the scores of MA of them stay on chip, those of MB do not fit."""

FUSEMAX = """\
group attention
  hold dram: Q, K, V, AV
  for h tile 1
    for p tile {p1}
      hold global_buffer: Q, RM, RD, RNV
      together
        branch
          for m1 tile 1
            hold global_buffer: K, V
            for p tile 256
              hold global_buffer: LM, SLD, SLNV
              together{interval}
                branch
                  par p tile 1 on columns
                    par m0 tile 1 on rows
                      hold pe_registers: BQK, SLN
                      branch
                        for e tile 1
                          compute BQK on pe
                      branch
                        compute LM on pe
                      branch
                        compute SLN on pe
                      branch
                        compute SLD on pe
                      branch
                        for f tile 1
                          compute SLNV on pe
                branch
                  par p tile 1 on lanes
                    hold lane_registers: PRM, SPD
                    branch
                      compute RM on lane
                    branch
                      compute PRM on lane
                    branch
                      compute SPD on lane
                    branch
                      compute RD on lane
                    branch
                      for f tile 1
                        hold lane_registers: SPNV
                        branch
                          compute SPNV on lane
                        branch
                          compute RNV on lane
        branch
          for p tile 256
            par p tile 1 on lanes
              for f tile 1
                compute AV on lane
"""

ONE_TILE_AT_A_TIME = """\
  block BQK, LM, RD, AV
  block RM after rows
  block SLN, SLD, PRM, SPD
  block SLNV, SPNV, RNV
"""

CASCADE = """\
group attention
  hold dram: Q, K, V, AV
  for h tile 1
    for p tile {p1}
      hold global_buffer: Q, RM, RD, RNV
      together
        branch
          for m1 tile 1
            hold global_buffer: K, V, BQK, SLN
            for p tile 256
              hold global_buffer: SLNV
              together
                branch
                  par p tile 1 on columns
                    par m0 tile 1 on rows
                      branch
                        hold pe_registers: BQK
                        for e tile 1
                          compute BQK on pe
                      branch
                        hold pe_registers: SLN
                        for f tile 1
                          compute SLNV on pe
                branch
                  par p tile 1 on lanes
                    hold lane_registers: LM, SLD, PRX, PRM, SPD
                    branch
                      for m0 tile 1
                        compute LM on lane
                    branch
                      compute RM on lane
                    branch
                      for m0 tile 1
                        hold lane_registers: SLX
                        branch
                          compute SLX on lane
                        branch
                          compute SLN on lane
                    branch
                      for m0 tile 1
                        compute SLD on lane
                    branch
                      compute PRX on lane
                    branch
                      compute PRM on lane
                    branch
                      compute SPD on lane
                    branch
                      compute RD on lane
                    branch
                      for f tile 1
                        hold lane_registers: SPNV
                        branch
                          compute SPNV on lane
                        branch
                          compute RNV on lane
        branch
          for p tile 256
            par p tile 1 on lanes
              for f tile 1
                compute AV on lane
"""

UNFUSED = """\
group scores
  hold dram: Q, K, QK
  for h tile 1
    for m tile {block}
      hold global_buffer: K
      for p tile 256
        hold global_buffer: Q
        for m tile 256
          par p tile 1 on columns
            par m tile 1 on rows
              hold pe_registers: QK
              for e tile 1
                compute QK on pe
group softmax
  hold dram: QK, A
  for h tile 1
    for p tile 1
      hold global_buffer: QK, SN, GM, SD
      together
        branch
          par m tile {lane} on lanes
            hold lane_registers: GM
            for m tile 1
              compute GM on lane
        branch
          par m tile {lane} on lanes
            for m tile 1
              compute SN on lane
        branch
          par m tile {lane} on lanes
            hold lane_registers: SD
            for m tile 1
              compute SD on lane
        branch
          par m tile {lane} on lanes
            for m tile 1
              compute A on lane
group values
  hold dram: A, V, AV
  for h tile 1
    for m tile {block}
      hold global_buffer: V
      for p tile 256
        hold global_buffer: AV
        for m tile 256
          par p tile 1 on columns
            par m tile 1 on rows
              hold pe_registers: A
              for f tile 1
                compute AV on pe
"""

LINEAR = """\
einsum:
  name: linear
  shapes: {{T: {tokens}, D: {width}, S: {out}}}
  declaration: {{X: [T, D], W: [D, S]}}
  expressions: |
    Y[t, s] = X[t, d] * W[d, s]
"""

LINEAR_NEST = """\
group linear
  hold dram: X, W, Y
  for t tile {tile}
    hold global_buffer: X
    for s tile 256
      hold global_buffer: W, Y
      for t tile 256
        par t tile 1 on columns
          par s tile 1 on rows
            hold pe_registers: Y
            for d tile 1
              compute Y on pe
"""

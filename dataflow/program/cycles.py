"""Cycle model of a Program. (In work by colleague C1: mapper colleagues, please leave this file.)"""

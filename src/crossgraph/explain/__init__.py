"""Why a pair scored as it did: drawn for people, and measured.

heat.py    word × region weights as densities over the picture
"""

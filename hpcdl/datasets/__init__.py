"""Data sets on disk, whatever their format: what is in them, how they are read, and how they are made.

Nothing here knows torch or DALI. A data set is a folder with up to two parts, `train` and `val`; a part is samples
with an index from 0 on, each a label and either an encoded image (JPEG, PNG) or pixels. The same samples in another
format have the same index, so that whoever draws indices draws the same samples whichever format.

A new format is a module with a `Format`, and one line in `hpcdl.datasets.formats`.
"""

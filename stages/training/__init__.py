"""What the stage train alone uses. Each module can be skipped on a first reading of
stages/train.py: `augment` changes the images, `resume` lets a killed run go on, `ranks` shares the
work among processes.
"""

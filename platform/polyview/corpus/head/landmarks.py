"""Where things lie on the average head at rest, millimetres (x to the subject's left, y up, z out of the face).

Proportions follow Farkas, Anthropometry of the Head and Face (1994): eyes 63 apart, mouth 50 wide,
nose 36 wide and 50 long, head 150 wide and 220 high. The tip of the nose has y = 0.
"""

from __future__ import annotations

EYE_X = 31.5
EYE_Y = 35.5
EYE_HALF_WIDTH = 15.2
EYE_AXES = (17.0, 14.0, 12.0)
EYE_CENTRE = (36.3, 65.0)  # height and depth
EYE_SHEAR = 0.3
LID_THICKNESS = 1.2

BROW_Y = 53.0
NOSTRIL = (6.2, -6.8)
MOUTH_Y = -32.0
MOUTH_HALF_WIDTH = 25.0
JAW_AXIS = (10.0, 5.0)
NECK_PIVOT = (0.0, -60.0, -10.0)
NOSE_TO_AXIS = 106.0
HAIRLINE = (  # azimuth in degrees from the middle of the face, height of the hair's edge
    (0, 25, 42, 52, 60, 68, 74, 80, 92, 104, 112, 122, 135, 180),
    (101, 100, 92, 78, 58, 34, 8, -2, 30, 30, 0, -35, -55, -62),
)

"""Energy and loss around a network's parameters: lines, planes, curvature (Figures 1 and 7)."""

"""Methods of several studies, side by side: at one density, and at equal total cost."""

"""Super-resolution: networks trained, applied to images of any size, and judged."""

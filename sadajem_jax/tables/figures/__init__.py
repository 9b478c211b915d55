"""The paper's figures of several models on one scale, a figure a file: runs in, a Figure out."""

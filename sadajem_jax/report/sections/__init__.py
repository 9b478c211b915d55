"""The page's sections, one a file: a Run in, a piece of HTML out, "" where there is nothing."""

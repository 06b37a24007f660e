"""The page for people: a tree of HTML, made anew once a second at most; its style and script."""

"""What a lab is built of: namespaces, links, nodes, and the rules that strike them."""

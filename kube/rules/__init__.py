"""MetalLB's rules on the objects of BGP, in its words, for who admits and for who acts. Pure."""

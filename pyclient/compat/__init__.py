"""Names of other systems on this one, for programs that move over."""

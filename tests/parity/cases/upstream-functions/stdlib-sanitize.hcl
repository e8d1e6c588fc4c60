target "default" {
  args = {
    v0 = jsonencode(sanitize(""))
    v1 = jsonencode(sanitize("a/b"))
    v2 = jsonencode(sanitize("ab"))
    v3 = jsonencode(sanitize("a/b."))
    v4 = jsonencode(sanitize("a/b.."))
    v5 = jsonencode(sanitize("a/b..."))
    v6 = jsonencode(sanitize("a/🍕b"))
    v7 = jsonencode(sanitize("a/b!@(c+d)"))
  }
}

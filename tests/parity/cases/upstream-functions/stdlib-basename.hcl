target "default" {
  args = {
    v0 = jsonencode(basename(""))
    v1 = jsonencode(basename("/"))
    v2 = jsonencode(basename("/a/b"))
    v3 = jsonencode(basename("a/b"))
    v4 = jsonencode(basename("/a/b."))
    v5 = jsonencode(basename("/a/b.."))
    v6 = jsonencode(basename("/a/b..."))
  }
}

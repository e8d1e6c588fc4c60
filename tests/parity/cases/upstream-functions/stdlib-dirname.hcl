target "default" {
  args = {
    v0 = jsonencode(dirname(""))
    v1 = jsonencode(dirname("/"))
    v2 = jsonencode(dirname("/a/b"))
    v3 = jsonencode(dirname("a/b"))
    v4 = jsonencode(dirname("/a/b."))
    v5 = jsonencode(dirname("/a/b.."))
    v6 = jsonencode(dirname("/a/b..."))
  }
}

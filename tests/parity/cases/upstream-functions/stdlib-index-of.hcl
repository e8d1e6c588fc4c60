target "default" {
  args = {
    v0 = jsonencode(indexof(["a", 2, 3, "d"], "a"))
    v1 = jsonencode(indexof(["a", 2, 3, "d"], "d"))
    v2 = jsonencode(can(indexof(["a", 2, 3, "d"], "3")))
    v3 = jsonencode(indexof(["a", 2, 3, "d"], 3))
  }
}

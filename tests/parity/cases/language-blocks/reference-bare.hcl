target "b" { dockerfile = "P" }
target "default" {
  args = {
    v = jsonencode(target)
  }
}

target "p" { dockerfile = "P" }
target "b" { inherits=["p"] }
target "default" {
  args = {
    v = jsonencode(target.b.dockerfile)
  }
}

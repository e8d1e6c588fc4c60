target "b" { dockerfile = "P" }
target "default" {
  args = {
    v = target.b["dockerfile"]
  }
}

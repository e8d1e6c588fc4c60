target "b" { tags=[NOPE] }
target "default" {
  args = {
    v = "x"
  }
}

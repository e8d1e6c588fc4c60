target "b" {
  tags       = ["1"]
  dockerfile = "D"
  args       = { a = "1" }
}
target "b" {
  tags = ["2"]
  args = { b = "2" }
}
target "default" { args = { d = jsonencode(target.b.dockerfile), t = target.b.tags[0], a = jsonencode(target.b.args) } }

v = "global"
target "l" {
  matrix = { v = ["1"] }
  name   = "l${v}"
  args   = { v = v }
}

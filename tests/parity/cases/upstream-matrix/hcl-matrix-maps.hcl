target "l" {
  matrix = { v = [{ n = "a", m = "b" }, { n = "c", m = "d" }] }
  name   = v.n
  args   = { v = "<${v.m}>" }
}

target "old" {
  output = ["type=docker"]
  args   = { A = "a" }
}
target "middle" {
  inherits = ["old"]
  args     = { B = "b" }
}
target "young" { inherits = ["middle"] }
target "younger" {
  inherits = ["middle"]
  args     = { C = "c" }
}
group "default" { targets = ["young", "younger"] }

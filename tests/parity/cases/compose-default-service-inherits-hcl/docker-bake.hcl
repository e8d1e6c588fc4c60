target "base" {
  context = "basectx"
  args = {A = 5, B = 6}
}
target "a" { inherits = ["base"] }

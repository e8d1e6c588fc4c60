target "a" {
  unknown = nothing
  tags    = ["1"]
}
other "x" {}

variable "VERSIONS" { default = ["2.1", "2.0"] }
target "default" {
  matrix = { v = VERSIONS }
  name   = "v${replace(v, ".", "-")}"
  args   = { V = v }
  tags   = ["x:${v}", indexof(VERSIONS, v) == 0 ? "x:latest" : ""]
}

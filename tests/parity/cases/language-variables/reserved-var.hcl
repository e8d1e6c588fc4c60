variable "target" { default = "x" }
target "default" {
  args = {
    v = "a"
  }
}

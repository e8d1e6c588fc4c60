variable "A" { default = "x" }
target "default" {
  args = {
    v = A
  }
}

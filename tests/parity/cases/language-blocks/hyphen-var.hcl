variable "A-B" { default = "x" }
target "default" {
  args = {
    v = A-B
  }
}

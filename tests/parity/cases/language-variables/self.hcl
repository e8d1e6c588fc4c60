variable "A" { default = A }
target "default" {
  args = {
    v = A
  }
}

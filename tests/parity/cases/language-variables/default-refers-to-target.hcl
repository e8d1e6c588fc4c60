variable "A" { default = target.default.name }
target "default" {
  args = {
    v = A
  }
}

variable "A" { type = number }
target "default" {
  args = {
    v = A == null
  }
}

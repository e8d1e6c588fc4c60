variable "A" { type = string }
target "default" {
  args = {
    v = A == null
  }
}

variable "A" { type = any }
target "default" {
  args = {
    v = A == null
  }
}

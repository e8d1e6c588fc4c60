variable "A" { type = bool }
target "default" {
  args = {
    v = A == null
  }
}

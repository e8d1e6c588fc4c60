variable "A" {}
target "default" {
  args = {
    v = A == ""
  }
}

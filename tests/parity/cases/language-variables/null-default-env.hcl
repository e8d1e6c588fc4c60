variable "A" { default = null }
target "default" {
  args = {
    v = A
  }
}

variable "A" { default = "d" }
target "default" {
  args = {
    v = A
  }
}

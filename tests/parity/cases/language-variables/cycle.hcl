variable "A" { default = B }
variable "B" { default = A }
target "default" {
  args = {
    v = A
  }
}

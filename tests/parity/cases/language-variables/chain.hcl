variable "A" { default = "${B}a" }
variable "B" { default = "b" }
target "default" {
  args = {
    v = A
  }
}

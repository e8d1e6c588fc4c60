variable "A" { default = "x" }
variable "A" {}
target "default" {
  args = {
    v = "<${A}>"
  }
}

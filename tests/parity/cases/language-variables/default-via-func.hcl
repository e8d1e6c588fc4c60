function "f" {
 params=[]
 result="r"
}
variable "A" { default = f() }
target "default" {
  args = {
    v = A
  }
}

function "ok" {
 params=[x]
 result= x == "a"
}
variable "V" {
 default = "a"
 validation {
 condition = ok(V)
 error_message = "m"
 }
}
target "default" {
  args = {
    v = V
  }
}

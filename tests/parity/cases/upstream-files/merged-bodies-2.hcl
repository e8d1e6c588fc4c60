A = "2"
variable "V" { default = "2" }
variable "W" { default = "2" }
function "f" {
  params = []
  result = "2"
}
group "g" { targets = ["a", "b"] }
target "a" { args = { a = "<${A}${B}${V}${W}${f()}>", only = "2" } }
target "b" { tags = [V] }

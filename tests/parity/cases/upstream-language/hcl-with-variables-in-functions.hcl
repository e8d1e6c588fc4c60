variable "WHERE" { default = "a/b" }
function "named" {
  params = [t]
  result = ["${WHERE}:${t}"]
}
target "default" { tags = named("v1") }

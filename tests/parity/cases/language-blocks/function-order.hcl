function "a" {
 params=[]
 result=b()
}
function "b" {
 params=[]
 result="b"
}
target "default" {
  args = {
    v = a()
  }
}

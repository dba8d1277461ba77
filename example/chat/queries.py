import rxgraphql
import strawberry
from strawberry import Info

from chat.serializers import UserSerializer

UserType = rxgraphql.type_for(UserSerializer)


@strawberry.type
class Query:
    @strawberry.field(description="Who is signed in.")
    async def me(self, info: Info) -> UserType | None:
        user = await info.context["request"].auser()
        return user if user.is_authenticated else None

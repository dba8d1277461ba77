import rxgraphql
import strawberry
from django.utils import timezone
from graphql import GraphQLError
from strawberry import Info

from chat.models import ChatRoom, Message, User
from chat.serializers import MessageSerializer, UserSerializer

# The types of the stream: what a mutation gives back is the row that the subscription shows.
MessageType = rxgraphql.type_for(MessageSerializer)
UserType = rxgraphql.type_for(UserSerializer)

EMOJI = ["👍", "❤️", "😂", "🎉", "👀", "🚀"]


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def send_message(self, info: Info, room: str, text: str) -> MessageType:
        user = await current_user(info)
        found = await ChatRoom.objects.filter(name=room, members=user).afirst()
        if found is None:
            raise GraphQLError("There is no such room.", extensions={"code": "NOT_FOUND"})
        return await Message.objects.acreate(room=found, author=user, text=checked(text))

    @strawberry.mutation
    async def edit_message(self, info: Info, message: strawberry.ID, text: str) -> MessageType:
        found = await own_message(info, message)
        found.text = checked(text)
        found.edited_at = timezone.now()
        await found.asave(update_fields=["text", "edited_at"])
        return found

    @strawberry.mutation(description="Hides it from everybody; the admin still has it.")
    async def delete_message(self, info: Info, message: strawberry.ID) -> strawberry.ID:
        found = await own_message(info, message)
        found.hidden = True
        await found.asave(update_fields=["hidden"])
        return message

    @strawberry.mutation
    async def toggle_reaction(self, info: Info, message: strawberry.ID, emoji: str) -> MessageType:
        user = await current_user(info)
        if emoji not in EMOJI:
            raise GraphQLError("Choose one of the emoji.", extensions={"code": "BAD_USER_INPUT"})
        found = await Message.objects.filter(pk=message, room__members=user).afirst()
        if found is None:
            raise GraphQLError("There is no such message.", extensions={"code": "NOT_FOUND"})
        reaction, created = await found.reactions.aget_or_create(user=user, emoji=emoji)
        if not created:
            await reaction.adelete()
        return found

    @strawberry.mutation
    async def set_away(self, info: Info, away: bool) -> UserType:
        user = await current_user(info)
        user.away = away
        await user.asave(update_fields=["away"])
        return user


async def current_user(info: Info) -> User:
    user: User = await info.context["request"].auser()
    if not user.is_authenticated:
        raise GraphQLError("Sign in first.", extensions={"code": "UNAUTHENTICATED"})
    return user


async def own_message(info: Info, pk: str) -> Message:
    user = await current_user(info)
    message = await Message.objects.filter(pk=pk, author=user).afirst()
    if message is None:
        raise GraphQLError("There is no such message of yours.", extensions={"code": "NOT_FOUND"})
    return message


def checked(text: str) -> str:
    text = text.strip()
    limit = Message._meta.get_field("text").max_length
    if not text or len(text) > limit:
        raise GraphQLError(
            f"A message has 1 to {limit} characters.", extensions={"code": "BAD_USER_INPUT"}
        )
    return text

import rxgraphql
import strawberry
from django.db.models import QuerySet
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
        chat_room = await ChatRoom.objects.filter(name=room, members=user).afirst()
        if chat_room is None:
            raise GraphQLError("There is no such room.", extensions={"code": "NOT_FOUND"})
        return await Message.objects.acreate(room=chat_room, author=user, text=checked(text))

    @strawberry.mutation
    async def edit_message(self, info: Info, message: strawberry.ID, text: str) -> MessageType:
        user = await current_user(info)
        edited = await found(Message.objects.filter(author=user), message)
        edited.text = checked(text)
        edited.edited_at = timezone.now()
        await edited.asave(update_fields=["text", "edited_at"])
        return edited

    @strawberry.mutation(description="Hides it from everybody; the admin still has it.")
    async def delete_message(self, info: Info, message: strawberry.ID) -> strawberry.ID:
        user = await current_user(info)
        deleted = await found(Message.objects.filter(author=user), message)
        deleted.hidden = True
        await deleted.asave(update_fields=["hidden"])
        return message

    @strawberry.mutation
    async def toggle_reaction(self, info: Info, message: strawberry.ID, emoji: str) -> MessageType:
        user = await current_user(info)
        if emoji not in EMOJI:
            raise GraphQLError("Choose one of the emoji.", extensions={"code": "BAD_USER_INPUT"})
        liked = await found(Message.objects.filter(room__members=user), message)
        reaction, created = await liked.reactions.aget_or_create(user=user, emoji=emoji)
        if not created:
            await reaction.adelete()
        return liked

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


async def found(messages: QuerySet[Message], pk: str) -> Message:
    message = await messages.filter(pk=pk).afirst() if pk.isdecimal() else None
    if message is None:
        raise GraphQLError("There is no such message.", extensions={"code": "NOT_FOUND"})
    return message


def checked(text: str) -> str:
    text = text.strip()
    limit = Message._meta.get_field("text").max_length
    if not text or len(text) > limit:
        raise GraphQLError(
            f"A message has 1 to {limit} characters.", extensions={"code": "BAD_USER_INPUT"}
        )
    return text
